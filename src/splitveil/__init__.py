"""splitveil: a privacy audit for split inference."""
