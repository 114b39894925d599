"""Video files to frames and flow; kept frames."""
