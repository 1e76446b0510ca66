"""The shape of every refusal: one sentence under `error`."""

from django.http import JsonResponse


def error(message: str, *, status: int) -> JsonResponse:
    return JsonResponse({"error": message}, status=status)
