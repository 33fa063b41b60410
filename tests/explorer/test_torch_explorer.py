"""The explorer of a PyTorch model: its modules, its tensors, any number; held to PyTorch itself."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from html import escape, unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

import chainrule as cr
from tests.conftest import ROOT
from tests.tools import find_chromium

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from chainrule.explain import notation as notations  # noqa: E402
from chainrule.explorer.torch.desk import Desk  # noqa: E402
from tests.foreign.torch_models import CASES  # noqa: E402

pytestmark = pytest.mark.needs("torch")


class Block(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, x: Any) -> Any:
        return torch.relu(self.bn(self.conv(x))) + x


class Net(nn.Module):  # type: ignore[misc]
    """A stem that is partly frozen, blocks, and a part that is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.layer1 = nn.Conv2d(1, 3, 3), nn.Sequential(Block(), Block())
        self.fc, self.spare = nn.Linear(48, 5), nn.Linear(2, 2)
        self.stem.bias.requires_grad_(False)

    def forward(self, x: Any) -> Any:
        return self.fc(self.layer1(self.stem(x)).flatten(1))


def case() -> tuple[Any, Any, Any, Any]:
    torch.manual_seed(0)
    model = Net().double()
    x, y = torch.randn(4, 1, 6, 6).double(), torch.tensor([0, 2, 1, 4])
    return model, nn.CrossEntropyLoss(), x, y


@pytest.fixture(scope="module")
def explorer() -> Iterator[cr.TorchExplorer]:
    made = cr.explore_torch(*case())
    yield made
    made.stop()


@pytest.fixture(scope="module")
def grads() -> dict[str, Any]:
    """What PyTorch's own backward leaves in the gradients."""
    model, loss_fn, x, y = case()
    model.stem.bias.requires_grad_()
    loss_fn(model(x), y).backward()
    return {name: p.grad for name, p in model.named_parameters()}


def walk(module: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield module
    for part in module["parts"]:
        yield from walk(part)


def test_the_tree_has_the_sizes_that_pytorch_finds(
    explorer: cr.TorchExplorer, grads: dict[str, Any]
) -> None:
    model, loss_fn, x, y = case()
    tree = explorer.to_dict()
    found = {module["name"]: module for module in walk(tree)}
    modules = dict(model.named_modules())
    assert set(found) == set(modules)
    for name, module in modules.items():
        prefix = f"{name}." if name else ""
        own = dict(module.named_parameters(prefix=name))
        sizes = [grads[n].norm() ** 2 for n in own if grads[n] is not None]
        shown = found[name]
        assert shown["kind"] == type(module).__name__
        assert shown["count"] == sum(p.numel() for p in own.values())
        assert shown["norm"] == pytest.approx(
            float(sum(p.detach().norm() ** 2 for p in own.values())) ** 0.5, rel=1e-12
        )
        if sizes:
            assert shown["grad_norm"] == pytest.approx(float(sum(sizes)) ** 0.5, rel=1e-12)
        else:
            assert shown["grad_norm"] is None
        names = [f"{prefix}{n}" for n, _ in module.named_parameters(recurse=False)]
        assert [p["name"] for p in shown["parameters"]] == names
    spare = {p["name"]: p for p in found["spare"]["parameters"]}
    assert "not used" in spare["spare.weight"]["reason"]
    frozen = {p["name"]: p for p in found["stem"]["parameters"]}["stem.bias"]
    assert frozen["grad_norm"] == pytest.approx(float(grads["stem.bias"].norm()), rel=1e-12)
    assert "stem.bias is frozen" in frozen["reason"]
    outputs = []
    model.layer1[0].bn.register_forward_hook(lambda m, i, o: outputs.append(o))
    loss_fn(model(x), y)
    results = {r["name"]: r for r in found["layer1.0.bn"]["results"]}
    assert results["layer1.0.bn:output"]["shape"] == [4, 3, 4, 4]
    assert results["layer1.0.bn:output"]["norm"] == pytest.approx(
        float(outputs[0].norm()), rel=1e-12
    )


def test_any_number_of_the_run_is_explained(
    explorer: cr.TorchExplorer, grads: dict[str, Any]
) -> None:
    for name, grad in grads.items():
        if grad is None:
            continue
        index = tuple(int(i) for i in torch.unravel_index(grad.abs().argmax(), grad.shape))
        why = explorer.explain(f"{name}[{','.join(map(str, index))}]")
        assert why.value == pytest.approx(float(grad[index]), rel=1e-12)
    model, loss_fn, x, y = case()
    x.requires_grad_()
    loss_fn(model(x), y).backward()
    assert explorer.explain("input[2,0,3,3]").value == pytest.approx(float(x.grad[2, 0, 3, 3]))


def test_the_model_is_left_as_it_was() -> None:
    model, loss_fn, x, y = case()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cr.explore_torch(model, loss_fn, x, y)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.stem.bias.requires_grad
    assert all(p.grad is None for p in model.parameters())
    assert not x.requires_grad


# --- the pages ------------------------------------------------------------------------------------


@pytest.fixture
def client(explorer: cr.TorchExplorer) -> Iterator[httpx.Client]:
    url = explorer.start()
    with httpx.Client(follow_redirects=True, timeout=60) as client:
        client.get(url)
        client.base_url = url.partition("?")[0]
        yield client


def said(reply: httpx.Response) -> str:
    return " ".join(unescape(re.sub(r"<style>.*?</style>|<[^>]*>", " ", reply.text)).split())


def test_a_page_needs_the_token(explorer: cr.TorchExplorer) -> None:
    url = explorer.start()
    base = url.partition("?")[0]
    for path in ("", "open?target=fc.weight"):
        reply = httpx.get(base + path)
        assert reply.status_code == 403
        assert "The token is missing" in reply.text
        assert "fc.weight" not in reply.text
    assert httpx.get(base, headers={"host": "evil.example"}).status_code == 403
    policy = httpx.get(base).headers["content-security-policy"]
    assert "form-action 'self'" in policy
    assert "script-src 'self'" in policy


def test_a_tensor_is_looked_through_by_index(client: httpx.Client, grads: dict[str, Any]) -> None:
    model = case()[0]
    shown = said(client.get("open", params={"target": "fc.weight", "row": 1, "column": 40}))
    weight, grad = model.fc.weight.detach(), grads["fc.weight"]
    assert f"{float(weight[1, 40]):.4g}".replace("-", "−") in shown
    assert f"{float(grad[4, 47]):.4g}".replace("-", "−") in shown
    target = "layer1.1.conv.weight"
    page = client.get("open", params={"target": target, "at0": 2, "at1": 1})
    value = float(model.layer1[1].conv.weight[2, 1, 0, 2])
    assert quote(f"{target}[2,1,0,2]") in page.text
    assert f"{value:.4g}".replace("-", "−") in said(page)
    largest = grads[target].abs().max()
    where = torch.unravel_index(grads[target].abs().argmax(), largest.new_zeros(3, 3, 3, 3).shape)
    first = f"{target}[{','.join(str(int(i)) for i in where)}]"
    assert said(page).index(first, said(page).index("The largest derivatives"))
    assert "Shape 3" in said(client.get("open", params={"target": "stem.bias"}))


def test_a_number_opens_into_others_down_to_the_loss(client: httpx.Client) -> None:
    target, seen = "stem.weight[1,0,2,2]", []
    for _ in range(30):
        page = client.get("open", params={"target": target})
        assert page.status_code == 200
        seen.append(target)
        links = re.findall(r'<td><a href="(/open\?target=[^"]*)">([^<]*)</a></td>', page.text)
        if not links:
            break
        target = unescape(links[0][1])
    assert len(seen) > 8
    assert seen[1].startswith("stem:output[")
    assert ":cross_entropy" in seen[-1] or seen[-1].startswith("fc:output")
    proven = client.get("open", params={"target": "fc.bias[2]", "prove": 1})
    assert "Certificate: pass" in said(proven)
    assert "Certificate" not in said(client.get("open", params={"target": "fc.bias[2]"}))


def test_a_module_leads_to_its_place(client: httpx.Client) -> None:
    reply = client.get("open", params={"target": "layer1.0"}, follow_redirects=False)
    assert (reply.status_code, reply.headers["location"]) == (303, "/#module-layer1.0")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "expected a text such as 'fc1.weight[3,7]'"),
        ({"target": "fc.wieght[0,0]"}, "Did you mean fc.weight"),
        ({"target": "fc.weight[9,0]"}, "fc.weight has shape (5, 48)"),
        ({"target": "fc:nothing[0]"}, "this run of fc made fc:"),
        ({"target": "fc.weight", "row": "5"}, "row is '5'; expected a whole number from 0 to 4"),
        ({"target": "fc.weight", "column": "-1"}, "column is '-1'"),
        ({"target": "stem.weight", "at0": "x"}, "at0 is 'x'"),
        ({"target": "layer1.0.bn.running_mean[0]"}, "is a buffer"),
        ({"target": "<script>alert(1)</script>"}, "there is no '<script>"),
    ],
)
def test_what_cannot_be_opened_is_said(
    client: httpx.Client, params: dict[str, Any], words: str
) -> None:
    reply = client.get("open", params=params)
    assert reply.status_code == 404
    assert words in said(reply).replace("( ", "(")
    assert "<script>" not in reply.text


def test_pages_are_asked_for_at_once(client: httpx.Client, explorer: cr.TorchExplorer) -> None:
    targets = [f"fc.weight[{i},{j}]" for i in range(3) for j in range(3)]
    values = {target: explorer.explain(target).value for target in targets}
    found: dict[str, str] = {}

    def ask(target: str) -> None:
        found[target] = said(client.get("open", params={"target": target}))

    threads = [threading.Thread(target=ask, args=(target,)) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for target, value in values.items():
        assert f"∂C/∂· is {value:.4g}".replace("-", "−") in found[target]


@pytest.mark.needs("chromium", "axe-core")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1366), ("dark", 400)])
def test_axe_finds_nothing_and_a_person_gets_to_a_number(
    explorer: cr.TorchExplorer, tmp_path: Path, scheme: str, width: int
) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    axe = (ROOT / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    saved = tmp_path / "net.html"
    explorer.save(saved, ["fc.weight[0,1]", "fc.weight[0,2]", "stem.bias[0]"])

    def check(page: Any) -> None:
        page.evaluate(axe)
        nodes = "r.violations.flatMap((v) => v.nodes.map((n) => v.id + n.html + n.failureSummary))"
        assert page.evaluate(f"axe.run().then((r) => {nodes})") == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True
        )
        page.goto(explorer.start())
        check(page)
        page.get_by_text("layer1", exact=True).click()
        page.get_by_text("layer1.0", exact=True).click()
        page.get_by_text("layer1.0.conv", exact=True).click()
        page.get_by_role("link", name="layer1.0.conv.weight").click()
        page.get_by_label("Dimension 0").fill("2")
        page.get_by_role("button", name="Show").click()
        check(page)
        page.locator("td a").first.click()
        page.wait_for_selector("h1:text('layer1.0.conv.weight[2,0,0,0]')")
        check(page)
        page.get_by_role("link", name="Prove it").click()
        page.wait_for_selector("text=Certificate: pass")
        page.get_by_label("Open a module").fill("fc:output[0,1]")
        page.get_by_role("button", name="Open").click()
        page.wait_for_selector("h1:text('fc:output[0,1]')")
        page.goto(saved.as_uri())
        check(page)
        page.locator("li a").first.click()
        assert page.locator("h2:text-is('fc.weight[0,1]')").count() == 1
        browser.close()


@pytest.mark.needs("chromium")
def test_a_narrow_screen_cuts_no_words_in_formulas(
    explorer: cr.TorchExplorer, tmp_path: Path
) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    why = explorer.explain("layer1.0.conv.weight[2,0,0,0]")
    (tmp_path / "why.html").write_text(why.html(), encoding="utf-8")
    widths = []
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        for width in (1366, 400):
            page = browser.new_page(viewport={"width": width, "height": 800})
            page.goto((tmp_path / "why.html").as_uri())
            sizes = "[...document.querySelectorAll('mtext')].map(n => n.getBoundingClientRect()"
            widths.append(page.evaluate(f"{sizes}.width)"))
        browser.close()
    assert len(widths[0]) > 20
    assert widths[0] == pytest.approx(widths[1], abs=0.5)


def test_the_policy_lets_the_page_s_style_through(client: httpx.Client) -> None:
    page = client.get("/")
    assert "<style" not in page.text
    assert "style=" not in page.text
    opened = client.get("open", params={"target": "fc.bias[0]"})
    assert "<style" not in opened.text
    assert "max-width" in client.get("style.css").text


# --- files and bad input --------------------------------------------------------------------------


def test_a_saved_file_holds_the_modules_and_what_was_asked_for(
    explorer: cr.TorchExplorer, tmp_path: Path, grads: dict[str, Any]
) -> None:
    explorer.save(tmp_path / "net.html", ["fc.bias[3]"])
    text = (tmp_path / "net.html").read_text(encoding="utf-8")
    assert not re.search(r"src=|<script|href=\"(?!#)", text)
    assert "layer1.1.bn.weight" in text
    assert f"{float(grads['fc.bias'][3]):.4g}".replace("-", "−") in text
    assert "<iframe" in explorer._repr_html_()


@pytest.mark.parametrize(
    ("targets", "error", "words"),
    [
        ("fc.bias[3]", TypeError, "targets is the text 'fc.bias[3]'"),
        (["fc"], ValueError, "target is 'fc', a module"),
        (["fc.bias[9]"], ValueError, "fc.bias has shape"),
    ],
)
def test_a_file_is_not_written_for_wrong_targets(
    explorer: cr.TorchExplorer, tmp_path: Path, targets: Any, error: Any, words: str
) -> None:
    with pytest.raises(error, match=re.escape(words)):
        explorer.save(tmp_path / "net.html", targets)
    assert not (tmp_path / "net.html").exists()


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"model": 3}, TypeError, "model is a int; expected a torch.nn.Module"),
        ({"x": "text"}, TypeError, "x is a str; expected a tensor"),
        ({"loss_fn": 2}, TypeError, "loss_fn is a int"),
        ({"loss_fn": nn.CrossEntropyLoss(reduction="none")}, ValueError, "expected one number"),
        ({"notation": "no-such"}, ValueError, "no-such"),
    ],
)
def test_wrong_arguments_are_refused(
    changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    model, loss_fn, x, y = case()
    arguments = {"model": model, "loss_fn": loss_fn, "x": x, "y": y} | changes
    with pytest.raises(error, match=words):
        cr.explore_torch(**arguments)


def test_tokens_and_shared_weights() -> None:
    torch.manual_seed(0)

    class Tied(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.emb, self.out = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
            self.out.weight = self.emb.weight

        def forward(self, x: Any) -> Any:
            return self.out(self.emb(x)).transpose(1, 2)

    model, x = Tied(), torch.tensor([[1, 2, 3], [0, 6, 2]])
    tree = cr.explore_torch(model, nn.CrossEntropyLoss(), x, x).to_dict()
    assert tree["count"] == 28
    nn.CrossEntropyLoss()(model(x), x).backward()
    norm = float(model.emb.weight.grad.norm())
    assert tree["grad_norm"] == pytest.approx(norm, rel=1e-5)
    assert [part["grad_norm"] for part in tree["parts"]] == pytest.approx([norm] * 2, rel=1e-5)


@pytest.mark.parametrize("name", list(CASES))
def test_every_tensor_of_every_kind_of_model_opens(name: str) -> None:
    desk = Desk(*CASES[name](), notation=notations.get("default"))
    tree = desk.tree()
    modules = list(desk.found.root.walk())
    tensors = [*desk.found.inputs, *(t for m in modules for t in (*m.parameters, *m.results))]
    assert len(tensors) > 2
    for tensor in tensors:
        assert f'target={quote(tensor.name)}"' in tree
        if tensor.data.is_complex() or not tensor.data.numel():
            continue
        page = desk.open({"target": tensor.name})
        assert f"<h1>{escape(tensor.name)}</h1>" in page
        number = tensor.target(tensor.index_of(tensor.data.numel() - 1))
        assert f"<h1>{escape(number)}</h1>" in desk.open({"target": number})
        for target, value in tensor.largest(1):
            assert desk.explain(target).value == pytest.approx(value, rel=1e-12)
