"""What the compared systems are called, in the order in which they are shown."""

TITLES = {
    "ours": "this project",
    "celery": "Celery",
    "dramatiq": "Dramatiq",
    "typical": "typical",
}
