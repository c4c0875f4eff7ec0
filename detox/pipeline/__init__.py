"""Preferences → reward model → PPO → bulk inference → side-by-side evaluation, stage by stage."""
