"""The tables of Burda et al. 2016: what they report, the experiments behind them, and results of our own."""
