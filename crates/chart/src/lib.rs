//! Draws time series and bars as one self-contained SVG.
