"""What people prefer: pairs in, picks kept, win rates and preference datasets out."""
