"""Shapes, parameters and multiply-adds of recognizers, beside the papers' figures."""
