"""VALUE OUT: what receivers are told. A delivery raises when it did not arrive; it never calls upward."""
