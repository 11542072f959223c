"""vLLM's waiting queue in the order of a decision."""

from collections import deque
from collections.abc import Iterable, Iterator

from vllm.v1.core.sched.request_queue import RequestQueue
from vllm.v1.request import Request


class PlannedRequestQueue(RequestQueue):  # type: ignore[misc]
    """A queue that is put in order before a step and does not move during it.

    Within a step it behaves like vLLM's FCFS queue: what is prepended (preempted or skipped
    requests) stands in front, and a peek agrees with the following pop. Held requests are
    counted and iterated but cannot be peeked or popped until the next :meth:`arrange`.

    A step admits few of those who wait, so their order is looked at only as far as it is needed.
    """

    def __init__(self) -> None:
        # Everybody, as they came or came back.
        self._waiting: dict[str, Request] = {}
        self._held: set[str] = set()
        # Who comes next as far as that is known, and behind them the rest of the order.
        self._next: deque[Request] = deque()
        self._known: set[str] = set()
        self._order: Iterator[Request] = iter(())
        self._shortlisted = False
        # Whom vLLM put back since the last `take_skipped`: it looked and could not admit them.
        self._skipped: list[Request] = []

    def take_skipped(self) -> list[Request]:
        """Return, once, those whom a scan passed over."""
        skipped, self._skipped = self._skipped, []
        return skipped

    def arrange(
        self, order: Iterable[Request], held: Iterable[str], *, shortlisted: bool = False
    ) -> None:
        """Put the queue in order, read lazily; requests that are not named come last.

        Of a ``shortlisted`` order they are held. ``order`` may name some that wait no more.
        ``held`` are ids. Cost: O(held).
        """
        self._order = iter(order)
        self._shortlisted = shortlisted
        self._held = set(held)
        self._next.clear()
        self._known.clear()

    def add_request(self, request: Request) -> None:
        """Append a request, behind all that were arranged; the next one gives it its place."""
        self._waiting[request.request_id] = request
        self._held.discard(request.request_id)

    def pop_request(self) -> Request:
        """Remove and return the first request that is not held."""
        request = self.peek_request()
        self._next.popleft()
        self._known.discard(request.request_id)
        del self._waiting[request.request_id]
        return request

    def peek_request(self) -> Request:
        """Return the request that the next pop will remove."""
        if not self:
            raise IndexError("peek from an empty queue")
        return self._next[0]

    def prepend_request(self, request: Request) -> None:
        """Put a request in front until the next :meth:`arrange`."""
        self._waiting[request.request_id] = request
        self._held.discard(request.request_id)
        self._known.add(request.request_id)
        self._next.appendleft(request)

    def prepend_requests(self, requests: Iterable[Request]) -> None:
        """Put skipped requests in front, in reverse order, as vLLM's FCFS queue does."""
        for request in requests:
            self.prepend_request(request)
            self._skipped.append(request)

    def remove_request(self, request: Request) -> None:
        """Remove one request."""
        self.remove_requests([request])

    def remove_requests(self, requests: Iterable[Request]) -> None:
        """Remove several requests; those not in the queue are ignored."""
        for request in requests:
            self._waiting.pop(request.request_id, None)
            self._known.discard(request.request_id)
        self._next = deque(each for each in self._next if each.request_id in self._waiting)

    def __bool__(self) -> bool:
        """Whether a request can be popped in this step."""
        return bool(self._next) or self._look_on() or self._look_at_unnamed()

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Request]:
        while self._look_on():
            pass
        self._look_at_unnamed()
        yield from self._next
        yield from [each for name, each in self._waiting.items() if name not in self._known]

    def _look_on(self) -> bool:
        """Find one more of the order; whether there was one."""
        for request in self._order:
            if self._can_come(request.request_id):
                self._next.append(request)
                self._known.add(request.request_id)
                return True
        return False

    def _look_at_unnamed(self) -> bool:
        """Take those whom the order, read to its end, did not name; whether there are any."""
        if self._shortlisted:
            return False
        rest = [each for name, each in self._waiting.items() if self._can_come(name)]
        self._next.extend(rest)
        self._known.update(each.request_id for each in rest)
        return bool(rest)

    def _can_come(self, name: str) -> bool:
        return name in self._waiting and name not in self._held and name not in self._known
