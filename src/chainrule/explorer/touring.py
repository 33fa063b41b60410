"""Touring: the lessons of a session, and the one that it plays."""

from __future__ import annotations

from dataclasses import replace

from chainrule.equations.feedforward import FeedForward
from chainrule.explain.scribe import notation
from chainrule.explain.steps import Steps
from chainrule.explorer import protocol
from chainrule.explorer.protocol import replies, requests
from chainrule.explorer.running import Running
from chainrule.teach import lessons
from chainrule.teach.lessons import Lesson, stops

GIVEN = "given"  # the name of a lesson that does not come with the package


def read_lesson(text: str, name: str, kind: type[FeedForward] = FeedForward) -> Lesson:
    """Return the lesson of a text, with its buttons checked; raise ValueError naming the line."""
    lesson = lessons.read(text, name, kind)
    for stop in lesson.stops:
        for button in stop.buttons:
            for action, fields in button.actions:
                try:
                    protocol.parse({**fields, "kind": action})
                except ValueError as error:
                    raise ValueError(
                        f"{name}, stop {stop.title!r}, button {button.label!r}: {error}"
                    ) from None
    return lesson


class Touring(Running):
    """A place that plays lessons."""

    given: Lesson | None = None  # what the page begins with
    _lesson: Lesson | None = None

    def _lessons(self, request: requests.Lessons) -> replies.LessonsView:
        found = {name: lessons.built_in(name, request.language) for name in lessons.NAMES}
        if self.given is not None:
            found = {GIVEN: self.given, **found}
        return {
            "kind": "lessons",
            "language": request.language,
            "languages": lessons.LANGUAGES,
            "lessons": [
                {"name": name, "title": lesson.title, "summary": lesson.summary}
                for name, lesson in found.items()
            ],
            "start": "" if self.given is None else GIVEN,
            "words": lessons.words(request.language),
        }

    def _tour(self, request: requests.Tour) -> replies.TourView:
        lesson = self._chosen(request)
        self._before("start the lesson")
        self._versions += 1
        self._data = replace(lesson.data, version=self._versions)
        self.network, self.sample = lesson.network.copy(), lesson.sample
        self.settings = replace(self.settings, **lesson.settings)
        self._lesson = lesson
        return {
            "kind": "tour",
            "lesson": request.lesson or GIVEN,
            "title": lesson.title,
            "language": lesson.language,
            "titles": [stop.title for stop in lesson.stops],
            "frame": self._restart(),
        }

    def _chosen(self, request: requests.Tour) -> Lesson:
        if request.text:
            self.given = read_lesson(request.text, "The lesson", self.kind)
            return self.given
        if request.lesson == GIVEN and self.given is not None:
            return self.given
        return lessons.built_in(request.lesson, request.language, self.kind)

    def _stop(self, request: requests.Stop) -> stops.StopView:
        lesson = self._playing(request.at)
        try:
            return stops.view(lesson, request.at, self._why, self._all_steps)
        except ValueError:  # the network has changed, and lacks what the stop shows
            bare = replace(lesson.stops[request.at], show=())
            every = (*lesson.stops[: request.at], bare, *lesson.stops[request.at + 1 :])
            return stops.view(replace(lesson, stops=every), request.at, self._why, self._all_steps)

    def _respond(self, request: requests.Respond) -> stops.ResponseView:
        question = self._playing(request.at).stops[request.at].question
        if question is None:
            raise ValueError(f"at is {request.at}; this stop has no question")
        return stops.response(
            question, request.value, request.choice, self.network, self._gradient(), self._focus(),
            self.settings.learning_rate,
        )  # fmt: skip

    def _playing(self, at: int) -> Lesson:
        if self._lesson is None:
            raise ValueError("There is no lesson to go on with. Begin one first.")
        if at >= len(self._lesson.stops):
            raise ValueError(f"at is {at}; expected 0 to {len(self._lesson.stops) - 1}")
        return self._lesson

    def _all_steps(self) -> Steps:
        gradient, focus = self._gradient(), self._focus()
        return Steps(
            self.network, gradient, self._data.y[self._rows()], focus,
            notation(self.settings.notation, self.settings.digits),
            self._units_shown(gradient, focus), self.settings.learning_rate,
        )  # fmt: skip
