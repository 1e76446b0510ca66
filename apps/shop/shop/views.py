"""What an operator asks of the shop: whether it is up, and to keep a connection busy."""

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_GET, require_safe

from shop.hold import hold_connection
from shop.responses import error

HOLD_LIMIT_MS = 60_000


@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """Say that the process answers. It stays away from the database, so that it works while that is down."""
    return HttpResponse("ok", content_type="text/plain")


@require_GET
def hold(request: HttpRequest) -> JsonResponse:
    """Keep this request's connection busy in the database for `ms` milliseconds: a slow query on demand."""
    field = forms.IntegerField(min_value=0, max_value=HOLD_LIMIT_MS)
    try:
        milliseconds = field.clean(request.GET.get("ms"))
    except ValidationError as invalid:
        return error(f"ms: {' '.join(invalid.messages)}", status=400)
    hold_connection(milliseconds / 1000)
    return JsonResponse({"held_ms": milliseconds})
