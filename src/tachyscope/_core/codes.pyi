"""Code objects of the target: copied when first seen, validated afterwards. Used from compiled code only."""
