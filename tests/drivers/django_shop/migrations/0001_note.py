from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel("Note", [("id", models.AutoField(primary_key=True)), ("text", models.TextField())],
                               {"db_table": "made_by_django"}),
        migrations.RunSQL("insert into made_by_django (text) values ('first')", migrations.RunSQL.noop),
    ]
