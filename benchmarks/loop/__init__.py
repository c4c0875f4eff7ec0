"""Does the loop close? Simulated labelers with a hidden taste, three rounds, honest figures."""
