"""Finds plugins, checks what they provide, and says what their behaviour rests on."""
