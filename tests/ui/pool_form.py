"""The form of a work pool in Prefect 3's UI; a variable that may be null looks different there."""

from __future__ import annotations

from playwright.sync_api import Locator

from tests.ui.form import Form


class PoolForm(Form):
    """The page that edits a work pool."""

    def variables(self) -> list[str]:
        """Texts of all variables of the base job template, top down, each with its title first."""
        fields = self.page.locator(".schema-form-property")
        inner = ".schema-form-property .schema-form-property"
        return [
            field.inner_text()
            for field in fields.all()
            if not field.evaluate(f"field => field.matches('{inner}')")
        ]

    def variable(self, title: str) -> Locator:
        """One that may be null has a heading, a choice of its types, and a field below it."""
        heading = self.page.get_by_role("heading", name=title, exact=True)
        choice = self.page.locator(".schema-form-property-any-of").filter(has=heading)
        return choice.or_(self.field(f"{title} (Optional)"))

    def write(self, title: str, text: str) -> None:
        self.variable(title).locator("input, textarea").first.fill(text)

    def write_json(self, title: str, text: str) -> None:
        """In an editor that is no plain text area."""
        self.variable(title).locator(".cm-content, textarea").first.click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(text)

    def value(self, title: str) -> str:
        text: str = self.variable(title).locator("input, textarea").first.input_value()
        return text

    def example(self, title: str) -> str:
        """What an empty editor for JSON shows."""
        return self.variable(title).locator("textarea").first.get_attribute("placeholder") or ""
