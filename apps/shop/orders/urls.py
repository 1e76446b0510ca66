from django.urls import path

from orders import views

urlpatterns = [path("", views.create_order, name="order-create")]
