-- Beside ours: both keep the state of their tables in a table of the same name.
CREATE DATABASE mlflow;
