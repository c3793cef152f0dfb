"""A cluster of Dask workers behind the same engine: `backend` is this end of it, `site` the far one."""
