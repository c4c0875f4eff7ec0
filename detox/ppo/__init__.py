"""PPO for causal and encoder-decoder policies, by §5 of the design."""
