"""What two or more stages share. Imports no stage and no flow."""
