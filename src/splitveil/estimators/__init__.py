"""Pure numerics: no models, no partitions, numbers in and numbers out."""
