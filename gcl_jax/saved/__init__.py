"""What runs leave in their folders, and what starts from it: checkpoints, results, whose run a folder holds."""
