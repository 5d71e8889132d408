"""What an implementation does where libraries differ: measured, and compared with what it declares.

A behaviour is measured once: of one mechanism, in one case, its `anchor`; the problems that tell are made from that
case. A judgement carries what was found and what is declared. What contradicts a declaration fails; what nothing was
claimed of passes, and is printed as found.
"""
