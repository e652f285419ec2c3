"""The form of a block in Prefect's UI, as a person sees it: fields by their titles."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect


class Form:
    """A page that creates or edits a block."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def titles(self) -> list[str]:
        """Titles of all fields, top down."""
        texts: list[str] = self.page.locator(".p-label__label > span").all_inner_texts()
        return texts

    def field(self, title: str) -> Locator:
        label = self.page.get_by_text(title, exact=True)
        return self.page.locator(".p-label").filter(has=label)

    def write(self, title: str, text: str) -> None:
        """Fill a text, a number or a JSON editor; an empty text clears it."""
        self.field(title).locator("input, textarea").first.fill(text)

    def value(self, title: str) -> str:
        text: str = self.field(title).locator("input, textarea").first.input_value()
        return text

    def placeholder(self, title: str) -> str | None:
        box = self.field(title).locator("input, textarea").first
        text: str | None = box.get_attribute("placeholder")
        return text

    def choose(self, title: str, option: str) -> None:
        """Choose from a select."""
        self.field(title).locator(".p-select-button__control").click()
        self.page.locator(".p-select-option").get_by_text(option, exact=True).click()

    def chosen(self, title: str) -> str:
        text: str = self.field(title).locator(".p-select-button__control").inner_text()
        return text

    def options(self, title: str) -> list[str]:
        """What a select offers, blank entries left out."""
        self.field(title).locator(".p-select-button__control").click()
        offered = self.page.locator(".p-select-option")
        offered.first.wait_for()
        options = offered.all_inner_texts()
        self.page.keyboard.press("Escape")
        expect(offered).to_have_count(0)
        return [option for option in options if option.strip()]

    def switch(self, title: str) -> None:
        self.field(title).get_by_role("switch").click()

    def press(self, button: str) -> None:
        self.page.get_by_role("button", name=button, exact=True).click()
