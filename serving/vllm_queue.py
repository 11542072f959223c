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
    """

    def __init__(self) -> None:
        self._open: deque[Request] = deque()
        self._held: list[Request] = []
        # Whether requests were put in front since the last arrange.
        self.moved = False

    def arrange(self, order: Iterable[Request], held: Iterable[Request]) -> None:
        """Put the queue in order; requests it holds that are named in neither come last."""
        held = list(held)
        hidden = set(held)
        wanted = [request for request in order if request not in hidden]
        named = hidden.union(wanted)
        rest = [request for request in self if request not in named]
        self._open = deque([*wanted, *rest])
        self._held = held
        self.moved = False

    def add_request(self, request: Request) -> None:
        """Append a request, behind all that were arranged; the next one gives it its place."""
        self._open.append(request)

    def pop_request(self) -> Request:
        """Remove and return the first request that is not held."""
        return self._open.popleft()

    def peek_request(self) -> Request:
        """Return the request that the next pop will remove."""
        if not self._open:
            raise IndexError("peek from an empty queue")
        return self._open[0]

    def prepend_request(self, request: Request) -> None:
        """Put a request in front until the next :meth:`arrange`."""
        self._open.appendleft(request)
        self.moved = True

    def prepend_requests(self, requests: Iterable[Request]) -> None:
        """Put requests in front, in reverse order, as vLLM's FCFS queue does."""
        self._open.extendleft(requests)
        self.moved = True

    def remove_request(self, request: Request) -> None:
        """Remove one request."""
        self.remove_requests([request])

    def remove_requests(self, requests: Iterable[Request]) -> None:
        """Remove several requests; those not in the queue are ignored."""
        gone = {request.request_id for request in requests}
        self._open = deque(request for request in self._open if request.request_id not in gone)
        self._held = [request for request in self._held if request.request_id not in gone]

    def __bool__(self) -> bool:
        """Whether a request can be popped in this step."""
        return bool(self._open)

    def __len__(self) -> int:
        return len(self._open) + len(self._held)

    def __iter__(self) -> Iterator[Request]:
        yield from self._open
        yield from self._held
