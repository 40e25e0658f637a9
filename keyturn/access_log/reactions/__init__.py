"""What happens when something odd is seen."""
