from django.urls import path

from reports import views

urlpatterns = [path("sales/", views.sales, name="sales-report")]
