"""A recorded run of our own networks, against a loop of float64 gradients written out here."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.diagnose import spikes
from chainrule.equations.optimizers import Optimizer
from chainrule.random import epoch_order
from chainrule.training.watching import recorder
from chainrule.training.watching.again import ReplayedStep

RNG = np.random.default_rng(0)
X = RNG.normal(size=(46, 4))
Y = (X[:, 0] - X[:, 1] > 0).astype(int) + (X[:, 2] > 0.5)
S = RNG.uniform(0.5, 2, 46)
OPTIMIZERS: dict[str, Callable[[], Optimizer]] = {
    "plain": lambda: cr.GradientDescent(0.1),
    "momentum": lambda: cr.GradientDescent(cr.StepDecay(0.1, every=2), momentum=0.9),
    "Nesterov": lambda: cr.GradientDescent(0.1, momentum=0.9, nesterov=True),
    "AdaGrad": lambda: cr.AdaGrad(0.05),
    "RMSProp": lambda: cr.RMSProp(cr.WarmUp(2, cr.Cosine(0.01, epochs=60))),
    "Adam": lambda: cr.Adam(cr.ReduceOnPlateau(0.02, patience=1)),
    "AdamW": lambda: cr.AdamW(cr.ExponentialDecay(0.01, factor=0.97), weight_decay=0.1),
}
ENGINES = ["reference", "native"]


def made(engine: str = "reference", dtype: Any = "float64", **options: Any) -> cr.Network:
    settings = {"hidden": "tanh", "output": "softmax", "loss": "cross_entropy", "l2": 0.01}
    return cr.Network(
        [4, 6, 3], seed=1, engine=engine, dtype=dtype, **{**settings, "dropout": 0.2, **options}
    )


def fitted(net: cr.Network, watch: Any = None, **options: Any) -> cr.History:
    settings: dict[str, Any] = {
        "optimizer": cr.Adam(0.02), "epochs": 50, "batch_size": 8, "sample_weight": S, "verbose": 0,
    }  # fmt: skip
    return net.fit(X, Y, watch=watch, **{**settings, **options})


def looped(net: cr.Network, optimizer: Optimizer, epochs: int, clip: float | None) -> list[Any]:
    """The steps of a run from float64 gradients: what each had before, did, and came to."""
    theta, steps = net.parameters.copy(), list[Any]()
    slots = optimizer.start(theta)
    losses: list[float] = []
    per_epoch = -(-len(X) // 8)
    for epoch in range(epochs):
        order = epoch_order(net.seed, epoch, len(X))
        rates = optimizer.schedule.rates(epoch, per_epoch, losses)
        total = weight = 0.0
        for k, rate in enumerate(rates):
            rows, t = order[8 * k : 8 * k + 8], len(steps)
            net.parameters[...] = theta
            g = net.gradient(X[rows], Y[rows], sample_weight=S[rows], dropout_step=t)
            pairs = zip(g.dW, g.db, strict=True)
            raw = np.concatenate([np.ravel(a) for pair in pairs for a in pair if a is not None])
            norm = np.linalg.norm(raw)
            used = raw if clip is None or norm <= clip else raw * (clip / norm)
            before = theta.copy()
            optimizer.update(theta, used.copy(), slots, rate, t + 1)
            steps.append(
                {"rows": rows, "g": g, "raw": raw, "used": used, "before": before,
                 "after": theta.copy(), "rate": rate}
            )  # fmt: skip
            total, weight = total + S[rows].sum() * g.loss, weight + S[rows].sum()
        losses.append(total / weight)
    return steps


# --- the same bits --------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("every", [1, 7])
@pytest.mark.parametrize("optimizer", ["Adam", "Nesterov"])
@pytest.mark.parametrize("options", [{}, {"dropout": 0.0, "l2": 0.0}], ids=["dropout", "tiny"])
def test_a_watched_run_has_the_bits_of_one_that_is_not(
    optimizer: str, every: int, dtype: str, engine: str, options: Any, tmp_path: Path
) -> None:
    plain, watched = made(engine, dtype, **options), made(engine, dtype, **options)
    given: dict[str, Any] = {
        "optimizer": OPTIMIZERS[optimizer](), "metrics": ["accuracy"], "validation_data": (X, Y),
        "epochs": 9,
    }  # fmt: skip
    expected = fitted(plain, **given)
    found = fitted(watched, cr.Watch(tmp_path / "run", every=every), **given)
    assert watched.parameters.tobytes() == plain.parameters.tobytes()
    for column in expected:
        if column != "seconds":
            assert found[column] == expected[column], column


# --- what is recorded -----------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("clip", [None, 0.1])
def test_what_is_recorded_is_what_the_steps_were(
    clip: float | None, engine: str, tmp_path: Path
) -> None:
    net, optimizer = made(engine), OPTIMIZERS["Adam"]()
    steps = looped(made(engine), optimizer, 12, clip)
    numbers = np.random.default_rng(3).permutation(900)[: len(X)]
    watch = cr.Watch(tmp_path / "run", every=5, rows=numbers)
    fitted(net, watch, optimizer=optimizer, epochs=12, clip_norm=clip)
    run = cr.load_run(tmp_path / "run")
    assert [line["step"] for line in run.steps] == list(range(72))
    np.testing.assert_allclose([x["loss"] for x in run.steps], [s["g"].loss for s in steps], 1e-10)
    np.testing.assert_allclose([x["rates"][0] for x in run.steps], [s["rate"] for s in steps])
    squares = []
    for step in range(0, 72, 5):
        g, samples = steps[step]["g"], run.samples(step)
        np.testing.assert_array_equal(samples.rows, numbers[steps[step]["rows"]])
        np.testing.assert_allclose(samples.losses, g.sample_losses, 1e-8)
        n = len(samples.norms)
        each = [
            np.sqrt(sum(np.square(g.sample_dW(l)[i]).sum() + np.square(g.sample_db(l)[i]).sum()
                        for l in (1, 2)))
            for i in range(n)
        ]  # fmt: skip
        scaled = n * g.shares * each
        np.testing.assert_allclose(samples.norms, scaled, 1e-8)
        W = net.views_of(steps[step]["before"])
        clean = [g.dW[l] - 0.01 * W[l - 1][0] for l in (1, 2)]
        mean = sum(np.square(a).sum() for a in (*clean, *g.db))
        squares.append((float(np.square(scaled).mean()), float(mean), n))
        update = net.views_of(steps[step]["after"] - steps[step]["before"])
        for layer, name in zip(run.layers(step), ("W[1]", "b[1]", "W[2]", "b[2]"), strict=True):
            l, kind = int(name[2]), "Wb".index(name[0])
            assert layer.name == name
            expected = (W[l - 1][kind], (g.dW[l], g.db[l])[kind], update[l - 1][kind])
            found = (layer.weight, layer.gradient, layer.update)
            np.testing.assert_allclose(found, [np.linalg.norm(a) for a in expected], 1e-8, 1e-12)
    spread = sum((s - m) * n / (n - 1) for s, m, n in squares)
    signal = sum((n * m - s) / (n - 1) for s, m, n in squares)
    assert run.noise_scale == pytest.approx(spread / signal if signal > 0 else math.inf, rel=1e-6)
    means: dict[int, list[float]] = {}
    for s in steps:
        for row, loss in zip(numbers[s["rows"]].tolist(), s["g"].sample_losses, strict=True):
            means.setdefault(row, []).append(loss)
    first = run.suspects(1)[0]
    worst = max(means, key=lambda row: float(np.mean(means[row])))
    assert (first.row, first.visits) == (worst, 12)
    assert first.loss == pytest.approx(np.mean(means[worst]))
    assert first.history == pytest.approx(means[worst], rel=1e-6)  # kept in float32


def test_the_page_and_the_words_read_a_run_of_our_own(tmp_path: Path) -> None:
    fitted(made(), tmp_path / "run")
    run = cr.load_run(tmp_path / "run")
    assert run.text().startswith("300 steps of Network 4-6-3 with Adam; loss ")
    assert "W[1]" in run.text()
    assert "Suspects" in run.html()
    assert json.loads(json.dumps(run.to_dict()))["about"]["kind"] == "network"


# --- why a weight moved ---------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("clip", [None, 0.1])
def test_why_moved_is_the_step_that_was_taken(
    optimizer: str, engine: str, clip: float | None, tmp_path: Path
) -> None:
    rule = OPTIMIZERS[optimizer]()
    steps = looped(made(engine), rule, 50, clip)
    fitted(made(engine), tmp_path / "run", optimizer=rule, clip_norm=clip)
    run = cr.load_run(tmp_path / "run")
    assert run.segments() == [0, 204]  # the first epochs that begin 200 steps after the last one
    for step, target, place in [
        (0, "w[1][2,3]", 11), (1, "b[1][4]", 28), (120, "W[2][1,-1]", 41), (207, "b[2][0]", 48),
        (290, "w[1][0,1]", 1),
    ]:  # fmt: skip
        move, seen = run.why_moved(target, step), steps[step]
        assert move.before == pytest.approx(seen["before"][place], rel=1e-9)
        assert move.after == pytest.approx(seen["after"][place], rel=1e-9)
        assert move.gradient == pytest.approx(seen["raw"][place], rel=1e-7, abs=1e-12)
        assert math.fsum(s.value for s in move.shares) == pytest.approx(move.value, rel=1e-13)
        size = abs(move.before) + sum(abs(s.value) for s in move.shares)
        assert abs(move.of("rounding")) <= 2e-14 * size
        rate = seen["rate"] / (steps[0]["rate"] if optimizer != "RMSProp" else 1)
        assert move.factors.get("schedule", 1.0) == pytest.approx(rate) or optimizer == "RMSProp"
        weight = target[0] in "wW"
        if optimizer in ("plain", "AdaGrad", "RMSProp"):
            divided = move.factors.get("denominator", 1.0) * seen["rate"]
            clipped = seen["used"][place] - seen["raw"][place]
            assert move.of("clipping") == pytest.approx(-divided * clipped, rel=1e-5, abs=1e-14)
            penalty = 0.01 * seen["before"][place] if weight else 0.0
            assert move.of("penalty") == pytest.approx(-divided * penalty, rel=1e-6)
        if optimizer == "AdamW":
            decay = -0.1 * seen["rate"] * seen["before"][place]
            assert move.of("weight decay") == pytest.approx(decay, rel=1e-9)
        if optimizer == "momentum":
            for share in move.earlier:
                if share.step >= step - 5:
                    of = steps[share.step]
                    loss = of["raw"][place] - (0.01 * of["before"][place] if weight else 0.0)
                    expected = -seen["rate"] * 0.9 ** (step - share.step) * loss
                    assert share.value == pytest.approx(expected, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_why_moved_in_float32_is_exact_to_its_rounding(
    optimizer: str, engine: str, tmp_path: Path
) -> None:
    net = made(engine, "float32")
    thetas = [net.parameters.copy()]
    fitted(
        net, tmp_path / "run", optimizer=OPTIMIZERS[optimizer](), clip_norm=0.5, batch_size=46,
        callbacks=[lambda run: thetas.append(run.network.parameters.copy())],
    )  # fmt: skip
    run = cr.load_run(tmp_path / "run")
    for step, target, place in [(0, "w[1][2,3]", 11), (3, "b[2][1]", 49), (49, "w[2][0,0]", 30)]:
        move = run.why_moved(target, step)
        assert (move.before, move.after) == (thetas[step][place], thetas[step + 1][place])
        assert math.fsum(s.value for s in move.shares) == pytest.approx(move.value, rel=1e-13)
        size = abs(move.before) + 8 * sum(abs(s.value) for s in move.shares)
        assert abs(move.of("rounding")) <= 5e-7 * size


# --- spikes and replays ---------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_spike_is_kept_and_taken_again(engine: str, dtype: str, tmp_path: Path) -> None:
    bad = X.copy()
    bad[17] *= 1e4
    net = made(engine, dtype, output="identity", loss="half_squared_error", dropout=0.1)
    y = np.eye(3)[Y]
    y[17] = 1e3
    before: dict[int, Any] = {0: net.parameters.copy()}
    net.fit(
        bad, y, optimizer=cr.GradientDescent(1e-7), epochs=30, batch_size=2, verbose=0,
        watch=tmp_path / "run",
        callbacks=[lambda run: before.update({run.state.step: run.network.parameters.copy()})],
    )  # fmt: skip
    shutil.move(tmp_path / "run", tmp_path / "moved")  # all that is needed stands in the folder
    run = cr.load_run(tmp_path / "moved")
    found = run.spikes()
    assert 20 >= len(found) > 3  # of those in a row the first, which is not the first of an epoch
    assert {spike.worst[0][1] for spike in found} == {17}
    assert f"row 17 has the largest loss, {found[-1].worst[0][2]:.4g}" in str(found[-1])
    for spike in (found[0], found[-1]):
        again = run.replay(spike.step)
        assert isinstance(again, ReplayedStep)
        assert again.same
        assert again.loss == spike.loss
        assert again.rows[again.sample_losses.argmax()] == 17
        (run.folder / "spikes" / f"{spike.step:08d}" / "spike.json").unlink()
        from_segment = run.replay(spike.step)
        assert from_segment.same
        assert from_segment.network.parameters.tobytes() == again.network.parameters.tobytes()
        np.testing.assert_array_equal(from_segment.x, again.x)
    for step in (23, 46, 667):  # the first steps of epochs, of which the parameters are known
        again = run.replay(step)
        assert again.same
        assert again.network.parameters.tobytes() == before[step].tobytes()
    why = again.explain("w[1][2,3]")
    assert why.value == again.gradient["W[1]"][2, 3] == again.explain("W[1][2,3]").value
    assert list(again.gradient) == ["W[1]", "b[1]", "W[2]", "b[2]"]
    assert type(again.network) is cr.Network
    assert repr(again).endswith("the same bits)")


@pytest.mark.parametrize("engine", ENGINES)
def test_several_spikes_of_one_epoch(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spikes, "QUIET", 2)
    y = np.zeros((460, 3))
    y[[100, 200, 300, 400, 430]] = 50.0
    net = made(engine, dropout=0.0, output="identity", loss="half_squared_error")
    net.fit(
        np.tile(X, (10, 1)), y, optimizer=cr.Adam(1e-4), epochs=2, batch_size=5, shuffle=False,
        verbose=0, watch=tmp_path / "run",
    )  # fmt: skip
    run = cr.load_run(tmp_path / "run")
    found = [spike.step for spike in run.spikes()]
    assert found == [20, 40, 60, 80, 86, 112, 132, 152, 172, 178]
    for step in found:
        again = run.replay(step)
        assert again.same, step
        (run.folder / "spikes" / f"{step:08d}" / "spike.json").unlink()
        assert run.replay(step).network.parameters.tobytes() == again.network.parameters.tobytes()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_that_stops_being_finite_leaves_its_last_step(engine: str, tmp_path: Path) -> None:
    net = cr.Network([4, 5, 1], hidden="relu", engine=engine, seed=0)
    with pytest.raises(cr.NonFiniteError) as error:
        net.fit(
            X, Y, optimizer=cr.GradientDescent(1e200), batch_size=8, verbose=0,
            watch=tmp_path / "run",
        )  # fmt: skip
    run, step = cr.load_run(tmp_path / "run"), error.value.step
    assert run.steps[-1]["step"] == step
    spike = run.spikes()[-1]
    assert spike.step == step
    assert "is not finite" in spike.reason
    again = run.replay(step)
    assert again.same
    assert again.network.parameters.tobytes() == net.parameters.tobytes()


# --- resuming -------------------------------------------------------------------------------------


class KilledError(Exception):
    """What a test ends a run with."""


@pytest.mark.parametrize("engine", ENGINES)
def test_a_resumed_run_goes_on_with_its_recording(engine: str, tmp_path: Path) -> None:
    bad = X.copy()
    bad[[5, 30]] *= 200

    def fit(name: str, **options: Any) -> cr.Network:
        net = made(engine)
        net.fit(
            bad, Y, optimizer=cr.Adam(0.02), epochs=45, batch_size=8, verbose=0,
            watch=cr.Watch(tmp_path / f"{name}-run", every=5), checkpoint=tmp_path / name,
            every=3, **options,
        )  # fmt: skip
        return net

    def kill(at: int) -> Callable[[Any], None]:
        def now(run: Any) -> None:
            if run.epoch == at:
                raise KilledError

        return now

    whole = fit("whole")
    for at in (4, 39):  # epochs 4 and 39 are not in the checkpoint that is resumed from
        with pytest.raises(KilledError):
            fit("parts", callbacks=[kill(at)], resume=True)
        for checkpoint in sorted((tmp_path / "parts").glob("epoch-*"))[1:]:
            checkpoint.unlink()  # as if the machine had gone down before the last one
    parts = fit("parts", resume=True)
    assert parts.parameters.tobytes() == whole.parameters.tobytes()
    expected, found = (cr.load_run(tmp_path / f"{name}-run") for name in ("whole", "parts"))
    plain = [{k: v for k, v in line.items() if k != "settings"} for line in expected.steps]
    assert [{k: v for k, v in line.items() if k != "settings"} for line in found.steps] == plain
    assert found.spikes() == expected.spikes()
    assert found.suspects(46) == expected.suspects(46)
    for step in range(0, 270, 5):
        for one, other in zip(found.samples(step).__dict__.values(),
                              expected.samples(step).__dict__.values(), strict=True):  # fmt: skip
            np.testing.assert_array_equal(one, other)
    for step in (130, 269):
        assert found.replay(step).same
        moves = [run.why_moved("w[1][0,0]", step) for run in (found, expected)]
        assert moves[0].value == moves[1].value


def test_a_run_that_began_unwatched_is_recorded_from_where_it_is_resumed(tmp_path: Path) -> None:
    options: dict[str, Any] = {"checkpoint": tmp_path / "kept", "resume": True}
    fitted(made(), epochs=3, **options)
    fitted(made(), tmp_path / "run", epochs=6, **options)
    run = cr.load_run(tmp_path / "run")
    assert [line["step"] for line in run.steps] == list(range(18, 36))
    assert run.replay(25).same
    move = run.why_moved("w[1][0,0]", 25)
    assert move.of("before") != 0
    assert math.fsum(s.value for s in move.shares) == pytest.approx(move.value, rel=1e-13)
    assert abs(move.of("rounding")) <= 1e-14 * (abs(move.before) + abs(move.value))


# --- limits and refusals --------------------------------------------------------------------------


def test_large_inputs_are_not_kept_but_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "MOST_DATA", 100)
    fitted(made(), tmp_path / "run")
    run = cr.load_run(tmp_path / "run")
    with pytest.raises(ValueError, match=r"too large to be kept. Pass them: load_run\(folder, X=X"):
        run.why_moved("w[1][0,0]", 3)
    assert cr.load_run(tmp_path / "run", X=X).replay(3).same
    with pytest.raises(ValueError, match="X holds other numbers than the run was trained on"):
        cr.load_run(tmp_path / "run", X=X + 1).replay(3)
    with pytest.raises(ValueError, match="X has 45 samples; the run had 46"):
        cr.load_run(tmp_path / "run", X=X[1:]).replay(3)


class Halved(Optimizer):
    """Half a step of gradient descent."""

    learning_rate = 0.1

    def update(self, theta: Any, g: Any, slots: Any, eta: float, t: int) -> None:
        theta -= eta * g / 2


def test_a_custom_optimizer_is_recorded_and_passed_to_take_steps_again(tmp_path: Path) -> None:
    fitted(made(), tmp_path / "run", optimizer=Halved())
    run = cr.load_run(tmp_path / "run")
    assert len(run.steps) == 300
    with pytest.raises(ValueError, match="why_moved can split the steps of GradientDescent, AdaG"):
        run.why_moved("w[1][0,0]", 3)
    with pytest.raises(ValueError, match="the optimiser is Halved, a custom one"):
        run.replay(3)
    assert cr.load_run(tmp_path / "run", optimizer=Halved()).replay(100).same


def test_a_callback_that_changes_the_network_is_found_out(tmp_path: Path) -> None:
    def shake(run: Any) -> None:
        run.network.parameters[:] += 0.5

    fitted(made(), tmp_path / "run", callbacks=[shake], epochs=5)
    run = cr.load_run(tmp_path / "run")
    assert run.replay(2).same
    assert not run.replay(20).same
    with pytest.raises(ValueError, match="a callback has changed the network or the optimiser"):
        run.why_moved("w[1][0,0]", 20)


@pytest.mark.parametrize(
    ("watch", "error", "message"),
    [
        (3, TypeError, "watch is 3; expected the path of a folder, or Watch"),
        (cr.Watch, TypeError, "watch is the class Watch; expected the path"),
        (lambda: cr.Watch(3), TypeError, "folder is 3; expected the path of a folder"),
        (lambda: cr.Watch(every=0), ValueError, "every must be at least 1, got 0"),
        (lambda: cr.Watch(keep=1.5), TypeError, "keep must be an integer"),
        (lambda: cr.Watch(rows=[1]), ValueError, r"rows has shape \(1,\); expected \(46,\)"),
        (lambda: cr.Watch(rows=S), TypeError, "rows holds float64; expected the number of each"),
    ],
)
def test_bad_settings(
    watch: Any, error: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    net = made()
    before = net.parameters.copy()
    with pytest.raises(error, match=message):
        fitted(net, watch() if callable(watch) and watch is not cr.Watch else watch)
    np.testing.assert_array_equal(net.parameters, before)
    assert not list(tmp_path.iterdir())


def test_folders_that_hold_something_else_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    net = made()
    with pytest.raises(ValueError, match="which holds files but no watched run"):
        fitted(net, tmp_path / "full")
    with pytest.raises(ValueError, match="which is a file"):
        fitted(net, tmp_path / "full" / "thesis.tex")
    with pytest.raises(ValueError, match="watch and checkpoint are both the folder"):
        fitted(net, tmp_path / "new", checkpoint=tmp_path / "new")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.tex"]
    with pytest.raises(ValueError, match="fit_many records no run"):
        cr.fit_many([net], X, Y, watch="run")  # type: ignore[arg-type]


def test_another_run_takes_the_place_of_the_first(tmp_path: Path) -> None:
    fitted(made(), tmp_path / "run")
    fitted(made(), tmp_path / "run", epochs=2)
    run = cr.load_run(tmp_path / "run")
    assert len(run.steps) == 12
    assert run.segments() == [0]
    with pytest.raises(ValueError, match="this run has the steps 0 to 11"):
        run.replay(12)


def test_a_run_that_is_interrupted_keeps_its_steps(tmp_path: Path) -> None:
    def stop(run: Any) -> None:
        if run.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(made(), tmp_path / "run", callbacks=[stop])
    assert len(cr.load_run(tmp_path / "run").steps) == 12


def test_the_folder_says_whether_the_run_goes_on(tmp_path: Path) -> None:
    seen: list[str] = []

    def look(run: Any) -> None:
        seen.append(cr.load_run(tmp_path / "run").state)

    fitted(made(), tmp_path / "run", callbacks=[look], epochs=2, checkpoint=tmp_path / "kept")
    assert seen == ["running", "running"]
    assert cr.load_run(tmp_path / "run").state == "ended"
    fitted(
        made(), tmp_path / "run", callbacks=[look], epochs=3, checkpoint=tmp_path / "kept",
        resume=True,
    )  # fmt: skip
    assert seen[2:] == ["running"]
    assert cr.load_run(tmp_path / "run").state == "ended"


def test_pages_take_the_steps_of_a_run_again(tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    from chainrule.foreign.torch.watch import load_run

    fitted(made(), tmp_path / "run")
    run = load_run(tmp_path / "run")  # as the pages do, below the face
    assert run.why_moved("w[1][0,1]", 30) == cr.load_run(tmp_path / "run").why_moved(
        "W[1][0,1]", 30
    )
    again = run.replay(30)
    assert again.same
    text = cr.load_run(tmp_path / "run").replay(30).explain("b[2][1]").text()
    assert again.explain("b[2][1]").text() == text
