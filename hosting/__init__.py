"""What whoever hosts the app decides, and what stands between the app and the network."""
