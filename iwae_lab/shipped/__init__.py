"""What ships with the program: trained models, digits and a recorded experiment."""
