"""People in the loop: proposals looked at, corrected and named in a browser."""
