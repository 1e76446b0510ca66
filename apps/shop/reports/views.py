"""The numbers that the shop's owner looks at."""

from datetime import MAXYEAR, MINYEAR

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from reports.sales import sales_by_category
from shop.responses import error


@require_safe
def sales(request: HttpRequest) -> JsonResponse:
    """Revenue and units by category over one year: the last closed one unless `year` names another."""
    field = forms.IntegerField(min_value=MINYEAR, max_value=MAXYEAR)
    try:
        year = field.clean(request.GET.get("year", settings.SALES_REPORT_YEAR))
    except ValidationError as invalid:
        return error(f"year: {' '.join(invalid.messages)}", status=400)
    return JsonResponse(sales_by_category(year))
