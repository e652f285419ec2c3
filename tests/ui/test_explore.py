from tests.ui.test_block_form import *
def test_explore(create, stage):
    create.field(titled("launch_type")).locator(".p-select-button__control").click()
    offered = create.page.locator(".p-select-option"); offered.first.wait_for()
    print("OPTIONS", offered.all_inner_texts())
    create.page.keyboard.press("Escape")
    print("HTML", create.field(titled("launch_type")).inner_html())
    print("HTML2", create.field(titled("assign_public_ip")).inner_html())
