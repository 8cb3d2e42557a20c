"""Two tables of the shop as they are, and one that a migration makes."""

from django.db import models


class Customer(models.Model):
    name = models.TextField()
    email = models.TextField(null=True)
    born = models.DateField(null=True)
    extra = models.JSONField(null=True)

    class Meta:
        db_table = 'shop"."customers'
        managed = False


class Order(models.Model):
    id = models.BigAutoField(primary_key=True)
    customer = models.ForeignKey(Customer, models.DO_NOTHING, null=True, related_name="orders")
    status = models.TextField(null=True)
    total = models.DecimalField(max_digits=10, decimal_places=2, null=True)
    placed = models.DateTimeField(null=True)

    class Meta:
        db_table = 'shop"."orders'
        managed = False


class Note(models.Model):
    text = models.TextField()

    class Meta:
        db_table = "made_by_django"
