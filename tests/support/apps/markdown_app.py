"""Texts of the address in the place where the page warns."""

import json

import streamlit as st

from ui.markdown import plain

for text in json.loads(st.query_params["texts"]):
    st.warning(plain(text))
st.title("end")
