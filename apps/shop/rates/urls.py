from django.urls import re_path

from rates import views

urlpatterns = [re_path(r"^(?P<currency>[A-Z]{3})/$", views.rate, name="rate")]
