"""Speed as ratios: two sides are measured in turn on one machine, so the figure holds on another too."""
