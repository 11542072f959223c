"""SlidingServe (arXiv 2606.05933): what each engine step computes, decided anew before it."""
