"""One endpoint that reads through the cache in the process, and one that changes what is in it."""

from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from rates.cache import change_rate, known_version
from rates.models import Rate
from shop.responses import error


@csrf_exempt
@require_http_methods(["GET", "POST"])
def rate(request: HttpRequest, currency: str) -> JsonResponse:
    """The rate as this process knows it; POST changes it.

    A client that names a `version` takes nothing older: it is answered 412 instead.
    """
    wanted = request.GET.get("version", "0")
    if not wanted.isdecimal():
        return error("version: a whole number.", status=400)
    try:
        version = change_rate(currency) if request.method == "POST" else known_version(currency)
    except Rate.DoesNotExist:
        return error(f"There is no currency {currency}.", status=404)
    if version < int(wanted):
        return error(f"This process knows version {version}, which is older than {int(wanted)}.", status=412)
    return JsonResponse({"currency": currency, "version": version})
