"""Picks kept where a lost disk cannot reach them: a private dataset on the Hugging Face Hub.

Every few minutes ``Keeper`` commits the picks that are new as lines of JSON, and now and then a
whole copy of the database; ``restore`` puts both together again on an empty disk. What was
acknowledged longer ago than ``every`` minutes before a crash is there again, once.
"""
