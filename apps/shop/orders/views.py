"""The API through which orders come in."""

from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from orders.payload import BadOrder, parse_order
from orders.services import OutOfStock, place_order
from shop.responses import error


@csrf_exempt
@require_POST
def create_order(request: HttpRequest) -> JsonResponse:
    """Place an order. Exempt from the CSRF check: its clients are programs and bring no session cookie."""
    try:
        order = place_order(parse_order(request.body))
    except BadOrder as refused:
        return error(str(refused), status=400)
    except OutOfStock as refused:
        return error(str(refused), status=409)
    return JsonResponse({"id": order.pk, "total": str(order.total)}, status=201)
