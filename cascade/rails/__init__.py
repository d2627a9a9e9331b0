"""Money in. A rail turns evidence into values; it never calls upward."""
