"""Speed as ratios: both sides run in turn on one machine, so a figure also holds on another machine."""
