"""Starts the function as Lambda's own image for Python does."""

from awslambdaric.__main__ import main

main(["awslambdaric", "webhook.handler"])
