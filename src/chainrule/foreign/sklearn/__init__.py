"""scikit-learn: fitted estimators as networks, and networks as fitted estimators."""
