"""Everything that needs torch: loaded only inside the commands that train."""
