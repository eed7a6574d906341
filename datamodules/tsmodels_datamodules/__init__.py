"""Lightning datamodules for time series."""
