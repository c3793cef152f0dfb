"""Multi-sample variational bounds, trained live: the core of the demo. It never imports streamlit."""
