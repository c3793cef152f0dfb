"""The paper's tables: what they report, the experiments behind them, and results of our own."""
